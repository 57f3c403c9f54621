"""An agent behind the Agent Client Protocol: what editors speak with agents, over lines."""

from actrio.acp._serve import ACP_LIMITS as ACP_LIMITS
from actrio.acp._serve import serve_acp as serve_acp
