"""What newcomers get wrong, and what they read then: the table, the tests that hold it, its page."""
