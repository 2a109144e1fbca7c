"""A plugin for the tests of the command line: small enough that a run takes a second."""
