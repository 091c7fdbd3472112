"""One QEMU process: which QEMU, its command line, its monitor, and what it knows of the guest's hardware."""
