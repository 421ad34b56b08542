"""Technology: one file per vendor; only wiring chooses among them."""
