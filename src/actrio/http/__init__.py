"""The agent service over HTTP: for curl, browsers and every OpenAI client."""

from actrio.http._app import HttpApp as HttpApp
from actrio.http._app import http_app as http_app
from actrio.http._serve import HttpServer as HttpServer
from actrio.http._serve import listen_http as listen_http
from actrio.http._serve import serve_http as serve_http
from actrio.http._serve import split_address as split_address
from actrio.http._settings import HttpLimits as HttpLimits
from actrio.http._settings import HttpSettings as HttpSettings
from actrio.http._settings import read_http_settings as read_http_settings
