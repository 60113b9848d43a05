"""The algorithms that a listener offers. tests/e2e/test_algorithms.py holds what ssh-audit and nmap say of them.

The client's order decides. OpenSSH's puts ChaCha20 first, which costs this server 1.3 times the CPU of AES in counter
mode and 1.8 times that of GCM; every client of the last ten years knows AES: so ChaCha20 is not offered. Of the large
groups of Diffie-Hellman only what somebody needs: they cost the server most, before anybody has logged in.
"""

STANDARD = {
    "kex_algs": (
        "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,"
        "diffie-hellman-group16-sha512,diffie-hellman-group14-sha256"
    ),
    "encryption_algs": "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr",
    # the plain ones are for curl, PHP and Twisted clients, which know no others
    "mac_algs": "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512",
    "signature_algs": (
        "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256,"
        "sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com"
    ),
    "compression_algs": "none",
}
"""What every listener offers: no SHA-1, no CBC, no curves of NIST for the key exchange."""

LEGACY = {
    "kex_algs": f"{STANDARD['kex_algs']},ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"
    "diffie-hellman-group14-sha1",
    "encryption_algs": f"{STANDARD['encryption_algs']},aes256-cbc,aes192-cbc,aes128-cbc",
    "mac_algs": f"{STANDARD['mac_algs']},hmac-sha1-etm@openssh.com,hmac-sha1",
    "signature_algs": f"{STANDARD['signature_algs']},ssh-rsa",
    "compression_algs": "none",
}
"""What the listener for old school systems offers beside it, last: whoever knows better takes that."""
