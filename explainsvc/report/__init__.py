"""What people look at: reports, pages, pictures. The only place where values are scaled."""
