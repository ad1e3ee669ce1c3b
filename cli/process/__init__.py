"""The composition root, and the life of a process: signals, services, the first process of a container."""
