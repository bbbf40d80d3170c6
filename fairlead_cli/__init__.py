"""The front door: the command `fairlead`, its settings and the client side of the control API."""
