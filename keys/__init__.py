"""The public keys that open an account: parsing, policy, life, audit."""
