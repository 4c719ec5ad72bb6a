"""What people type. One file per command; each defines `register(app)`.

A command's module imports nothing heavy: what it needs is imported inside the command, so that
`headwater --help` and `config check` answer at once. Data goes to stdout, everything else to
stderr.
"""
