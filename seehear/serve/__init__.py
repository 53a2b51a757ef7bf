"""The local API and page. FastAPI is needed at import time here: `commands/serve.py` asks for it first."""
