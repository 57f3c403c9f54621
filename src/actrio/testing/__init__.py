"""What actrio tests itself with, for your tests too: sweeps and checks. No mocks: the fakes are
the scripted provider (``model="scripted:…"``) and its loopback server.
"""

from actrio.providers.scripted import ScriptedServer as ScriptedServer
from actrio.testing._history import history_problems as history_problems
from actrio.testing._sweep import cancel_at_each_step as cancel_at_each_step
from actrio.testing._sweep import live_tasks as live_tasks
