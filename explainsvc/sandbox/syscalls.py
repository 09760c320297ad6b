"""The system calls that a sandboxed worker may not make: numbers of x86_64 and of aarch64, grouped by why.

Sources: Linux ``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``. A call that an
architecture does not have is number -1 there, which no table of the kernel holds.
"""

from __future__ import annotations

from dataclasses import dataclass

ARCHITECTURES = ("x86_64", "aarch64")
"""In the order of the numbers below, as ``platform.machine()`` spells them."""
Numbers = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Group:
    """System calls denied for one reason; ``cuda`` tells whether they stay denied where a worker drives a GPU."""

    name: str
    why: str
    calls: Numbers
    cuda: bool = True


DENIED = (
    Group(
        "files",
        "Names of files: nothing is opened, looked at or changed by a path. What is open already can be read and written.",
        {
            "open": (2, -1),
            "openat": (257, 56),
            "openat2": (437, 437),
            "creat": (85, -1),
            "open_by_handle_at": (304, 265),
            "name_to_handle_at": (303, 264),
            "stat": (4, -1),
            "lstat": (6, -1),
            "statx": (332, 291),
            "statfs": (137, 43),
            "access": (21, -1),
            "faccessat": (269, 48),
            "faccessat2": (439, 439),
            "readlink": (89, -1),
            "readlinkat": (267, 78),
            "chdir": (80, 49),
            "fchdir": (81, 50),
            "getcwd": (79, 17),
            "chroot": (161, 51),
            "link": (86, -1),
            "linkat": (265, 37),
            "unlink": (87, -1),
            "unlinkat": (263, 35),
            "rename": (82, -1),
            "renameat": (264, 38),
            "renameat2": (316, 276),
            "mkdir": (83, -1),
            "mkdirat": (258, 34),
            "rmdir": (84, -1),
            "symlink": (88, -1),
            "symlinkat": (266, 36),
            "mknod": (133, -1),
            "mknodat": (259, 33),
            "chmod": (90, -1),
            "fchmod": (91, 52),
            "fchmodat": (268, 53),
            "fchmodat2": (452, 452),
            "chown": (92, -1),
            "lchown": (94, -1),
            "fchown": (93, 55),
            "fchownat": (260, 54),
            "truncate": (76, 45),
            "utime": (132, -1),
            "utimes": (235, -1),
            "utimensat": (280, 88),
            "futimesat": (261, -1),
            "setxattr": (188, 5),
            "lsetxattr": (189, 6),
            "fsetxattr": (190, 7),
            "removexattr": (197, 14),
            "lremovexattr": (198, 15),
            "fremovexattr": (199, 16),
            "getxattr": (191, 8),
            "lgetxattr": (192, 9),
            "listxattr": (194, 11),
            "llistxattr": (195, 12),
            "inotify_init": (253, -1),
            "inotify_init1": (294, 26),
            "inotify_add_watch": (254, 27),
        },
        cuda=False,
    ),
    Group(
        "devices",
        "Devices and terminals: TIOCSTI would type into the server's terminal, which is the worker's stderr.",
        {"ioctl": (16, 29)},
        cuda=False,
    ),
    Group(
        "network",
        "Sockets: none is made, bound or connected. The one that brings descriptors was there before.",
        {
            "socket": (41, 198),
            "socketpair": (53, 199),
            "connect": (42, 203),
            "bind": (49, 200),
            "listen": (50, 201),
            "accept": (43, 202),
            "accept4": (288, 242),
        },
    ),
    Group(
        "programs",
        "Other programs, and processes of its own. Threads are made by clone, which looks at its flags.",
        {"execve": (59, 221), "execveat": (322, 281), "fork": (57, -1), "vfork": (58, -1)},
    ),
    Group(
        "processes",
        "Other processes: neither watched nor changed nor signalled.",
        {
            "ptrace": (101, 117),
            "process_vm_readv": (310, 270),
            "process_vm_writev": (311, 271),
            "process_madvise": (440, 440),
            "kcmp": (312, 272),
            "pidfd_open": (434, 434),
            "pidfd_getfd": (438, 438),
            "pidfd_send_signal": (424, 424),
            "tkill": (200, 130),
            "rt_sigqueueinfo": (129, 138),
            "rt_tgsigqueueinfo": (297, 240),
            "msgget": (68, 186),
            "semget": (64, 190),
            "shmget": (29, 194),
            "mq_open": (240, 180),
            "setpgid": (109, 154),
            "setsid": (112, 157),
        },
    ),
    Group(
        "kernel",
        "What only an administrator does, and parts of the kernel that a computation never needs.",
        {
            "mount": (165, 40),
            "umount2": (166, 39),
            "mount_setattr": (442, 442),
            "move_mount": (429, 429),
            "open_tree": (428, 428),
            "fsopen": (430, 430),
            "fsconfig": (431, 431),
            "fsmount": (432, 432),
            "fspick": (433, 433),
            "pivot_root": (155, 41),
            "setns": (308, 268),
            "unshare": (272, 97),
            "keyctl": (250, 219),
            "add_key": (248, 217),
            "request_key": (249, 218),
            "bpf": (321, 280),
            "perf_event_open": (298, 241),
            "userfaultfd": (323, 282),
            "io_uring_setup": (425, 425),
            "io_uring_enter": (426, 426),
            "io_uring_register": (427, 427),
            "init_module": (175, 105),
            "finit_module": (313, 273),
            "delete_module": (176, 106),
            "kexec_load": (246, 104),
            "kexec_file_load": (320, 294),
            "reboot": (169, 142),
            "swapon": (167, 224),
            "swapoff": (168, 225),
            "fanotify_init": (300, 262),
            "acct": (163, 89),
            "quotactl": (179, 60),
            "quotactl_fd": (443, 443),
            "settimeofday": (164, 170),
            "clock_settime": (227, 112),
            "clock_adjtime": (305, 266),
            "adjtimex": (159, 171),
            "sethostname": (170, 161),
            "setdomainname": (171, 162),
            "syslog": (103, 116),
            "iopl": (172, -1),
            "ioperm": (173, -1),
            "modify_ldt": (154, -1),
            "vhangup": (153, 58),
            "personality": (135, 92),
            "setrlimit": (160, 164),
            "setuid": (105, 146),
            "setgid": (106, 144),
            "setreuid": (113, 145),
            "setregid": (114, 143),
            "setresuid": (117, 147),
            "setresgid": (119, 149),
            "setgroups": (116, 159),
            "setfsuid": (122, 151),
            "setfsgid": (123, 152),
        },
    ),
)
"""Answered with EPERM, whatever their arguments."""

LOOKED_INTO: Numbers = {
    "seccomp": (317, 277),
    "clone": (56, 220),
    "clone3": (435, 435),
    "newfstatat": (262, 79),
    "prlimit64": (302, 261),
    "kill": (62, 129),
    "tgkill": (234, 131),
}
"""Allowed or denied by their arguments; see ``seccomp``."""

NEWER = 457
"""From ``statmount`` (Linux 6.8) on a call is ENOSYS: libraries then take the older one, and no new door stands open unseen."""
