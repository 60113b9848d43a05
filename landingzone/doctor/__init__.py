"""The doctor: what is wrong with an installation, or with one account's connections and files, and what to do."""
