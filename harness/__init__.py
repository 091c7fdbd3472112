"""nicproof: proves that a guest's NIC driver does what the hardware and its standards say."""

__version__ = "0.1.0"
