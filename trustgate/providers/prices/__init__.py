"""What answers cost: `PriceBook` knows the shipped prices and lets a registry's own stand instead of them."""

from trustgate.providers.prices.book import PriceBook

__all__ = ["PriceBook"]
