"""What the admin plane does, with no HTTP in it: functions over a unit of work. Routes and `--demo` call the same ones.

Rule 1: a function takes the work, ids and a form; it returns records, or raises Refused and leaves nothing written.
Rule 2: below a gateway only its own records exist; who may see the gateway at all is asked by `gateways.visible`.
Rule 3: a form field that is None says nothing: the default on create, unchanged on update.
"""
