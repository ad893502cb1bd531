"""Where each dialect keeps what we need to know of an answer."""
