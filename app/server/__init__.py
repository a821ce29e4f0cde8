"""Sockets and operations: serving the application, in one process or several."""
