from goldpan.sqlite import use_newer_sqlite

use_newer_sqlite()  # before anything of Django's, whichever way the process was started
