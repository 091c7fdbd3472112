"""What a NIC driver must do: each test is one rule, on every cell."""
