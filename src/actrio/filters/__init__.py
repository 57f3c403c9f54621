"""Filters: functions with a continuation, composed on the agent, model and tool paths."""

from actrio.filters._chain import compile_chain as compile_chain
from actrio.filters._filter import AgentInput as AgentInput
from actrio.filters._filter import AgentProceed as AgentProceed
from actrio.filters._filter import Filter as Filter
from actrio.filters._filter import FilterPath as FilterPath
from actrio.filters._filter import FilterStage as FilterStage
from actrio.filters._filter import ModelProceed as ModelProceed
from actrio.filters._filter import ToolProceed as ToolProceed
from actrio.filters._filter import after_agent as after_agent
from actrio.filters._filter import after_model as after_model
from actrio.filters._filter import after_tool as after_tool
from actrio.filters._filter import around_agent as around_agent
from actrio.filters._filter import around_model as around_model
from actrio.filters._filter import around_tool as around_tool
from actrio.filters._filter import before_agent as before_agent
from actrio.filters._filter import before_model as before_model
from actrio.filters._filter import before_tool as before_tool
