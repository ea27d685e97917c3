"""`switchboard vault` and `switchboard audit`: the credentials and the audit log, looked after from a terminal."""
