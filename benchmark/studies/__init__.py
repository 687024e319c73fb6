"""Suites: what a study varies, its arms, and the page over them."""
