"""The local API and page. FastAPI is needed at import time here: `commands/search.py` asks for it first."""
