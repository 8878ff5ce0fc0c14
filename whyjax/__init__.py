"""whyjax: does it help to teach a small transformer why, rather than only what?"""

__version__ = '0.1.0'
