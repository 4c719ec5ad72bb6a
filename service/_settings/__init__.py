"""How settings are read: the rooms behind service/settings.py. Private to it."""
