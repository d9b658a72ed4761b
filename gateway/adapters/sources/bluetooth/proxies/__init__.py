"""ESP32 boards in other rooms as radios: ESPHome's `bluetooth_proxy`, over its native API. Needs the extra `proxies`.

Only aioesphomeapi is used. Two classes of our own stand between it and bleak, given to bleak as `backend=`; nothing in
bleak is replaced, a device's ATT error code comes through, and no second manager of connections is at work.
"""
