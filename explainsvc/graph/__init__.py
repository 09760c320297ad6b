"""The model as a graph: reading it, the passes over it, where its layers and spatial activations are."""
