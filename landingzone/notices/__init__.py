"""Notices: what an operator or a district should know without asking, by webhook and e-mail."""
