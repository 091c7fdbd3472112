"""How fast nicproof is, against what: `./run bench`. Never asserted in a test."""
