"""Traffic of the suites: the frames that they send, how they are exchanged, and what must become of them."""
