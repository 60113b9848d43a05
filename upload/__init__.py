"""The upload utility, `landingzone-upload`: what a district runs on its own side. Extract, check, send, look back.

It shares the feeds' declarations and rules with the server, and nothing else: no database, no door, no import.
"""
