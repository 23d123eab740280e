"""Units a robot contract may name: `m/s`, `rad/s^2`, `N*m`, `normalised`. Misspelt ones are found; no conversion."""
import difflib
import re

SYMBOLS = (
    'm', 'mm', 'cm', 'km', 'rad', 'mrad', 'deg', 's', 'ms', 'us', 'min', 'h', 'Hz', 'kg', 'g', 'N', 'Nm', 'J', 'W', 'V',
    'mV', 'A', 'mA', 'Ah', 'Wh', 'Pa', 'hPa', 'kPa', 'T', 'uT', 'K', 'degC', 'lx', 'ohm', 'px', 'rpm', 'rev')
PURE = ('normalised', 'count', 'percent', '%', '1')     # numbers without a dimension have no powers
_FACTOR = re.compile(r'^(.+?)(?:\^?(-?[1-9])|([²³]))?$')


def check_units(units: str) -> str:
    """The same text; ValueError for a symbol that is no unit. Factors are joined by * and /, powers follow a ^."""
    if units == '':
        return units
    for factor in re.split(r'[*/·]', units):
        symbol = factor.strip()
        match = _FACTOR.match(symbol)
        if symbol in PURE or match and match.group(1) in SYMBOLS:
            continue
        close = difflib.get_close_matches(symbol, (*SYMBOLS, *PURE), n=1, cutoff=0.6)
        raise ValueError(f'{symbol!r} in units {units!r} is no unit{f"; did you mean {close[0]!r}?" if close else ""} '
                         '(write m/s, rad/s^2, N*m, normalised)')
    return units
