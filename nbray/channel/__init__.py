"""The one I/O shell: sockets, who polls them, and framed connections between peers."""
