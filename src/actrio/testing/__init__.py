"""What actrio tests itself with, for your tests too: sweeps, checks and a simulation. No mocks: the
fakes are the scripted provider (``model="scripted:…"``) and its loopback server.
"""

from actrio.providers.scripted import ScriptedServer as ScriptedServer
from actrio.testing._faulty_store import FaultyStore as FaultyStore
from actrio.testing._faulty_store import StoreFault as StoreFault
from actrio.testing._history import history_problems as history_problems
from actrio.testing._network import MemoryNetwork as MemoryNetwork
from actrio.testing._network import MemoryRequest as MemoryRequest
from actrio.testing._network import Reply as Reply
from actrio.testing._ports import Ports as Ports
from actrio.testing._ports import SimulatedClock as SimulatedClock
from actrio.testing._ports import SimulatedFiles as SimulatedFiles
from actrio.testing._ports import SimulatedIds as SimulatedIds
from actrio.testing._programs import Program as Program
from actrio.testing._programs import programs as programs
from actrio.testing._programs import random_program as random_program
from actrio.testing._simulated_disk import SimulatedDisk as SimulatedDisk
from actrio.testing._simulation import SimulationStuck as SimulationStuck
from actrio.testing._simulation import simulate as simulate
from actrio.testing._simulation import task_tree as task_tree
from actrio.testing._simulation_run import ProgramReport as ProgramReport
from actrio.testing._simulation_run import run_program as run_program
from actrio.testing._store_kit import STORE_CHECKS as STORE_CHECKS
from actrio.testing._store_kit import OpenStore as OpenStore
from actrio.testing._store_kit import StoreUnderTest as StoreUnderTest
from actrio.testing._sweep import cancel_at_each_step as cancel_at_each_step
from actrio.testing._sweep import live_tasks as live_tasks
