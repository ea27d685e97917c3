"""Programs that are started for measurements: the servers under test, and what stands behind gateways."""
