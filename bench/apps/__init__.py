"""Small ASGI applications that the bench puts between load and upstream."""
