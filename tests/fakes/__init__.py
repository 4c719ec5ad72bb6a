"""Stand-ins for the outside world. Each passes the contract tests of what it stands for."""
