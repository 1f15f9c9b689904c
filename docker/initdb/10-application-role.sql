-- Runs once, as the owner, when the volume is empty: the role of the node. `migrate` grants it what it needs.
\getenv role POSTGRES_APP_USER
\getenv password POSTGRES_APP_PASSWORD
SET log_min_error_statement = panic; -- a failed statement would stand in the server's log, password included
CREATE ROLE :"role" LOGIN PASSWORD :'password';
