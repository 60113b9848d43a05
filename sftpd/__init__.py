"""The front door: an SFTP server that accepts key pairs only and shows each account its own view."""
