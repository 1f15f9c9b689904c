"""Each order type, time in force, flag and leg rule, as a transcript: commands, and exactly what came of them."""

from __future__ import annotations

from textwrap import dedent

import pytest
from venue_script import Script

CASES: dict[str, str] = {}
CASES["market: at the best price, then at the next"] = """
> b place 1 SELL LIMIT 2@101
b accepted 1
> b place 2 SELL LIMIT 5@100
b accepted 2
> a place 3 BUY MARKET 6
a accepted 3
b filled 2 5@100 maker
a filled 3 5@100 taker
b filled 1 1@101 maker
a filled 3 1@101 taker
"""
CASES["market: what the book does not have is canceled"] = """
> b place 1 SELL LIMIT 2@101
b accepted 1
> a place 2 BUY MARKET 3
a accepted 2
b filled 1 2@101 maker
a filled 2 2@101 taker
a canceled 2 NO_LIQUIDITY
"""
CASES["market: against an empty side it is rejected"] = """
> a place 1 SELL MARKET 3
a rejected 1 NO_LIQUIDITY
"""
CASES["market: FOK needs all of it"] = """
> b place 1 SELL LIMIT 2@101
b accepted 1
> a place 2 BUY MARKET 3 FOK
a accepted 2
a canceled 2 FOK
> a place 3 BUY MARKET 2 FOK
a accepted 3
b filled 1 2@101 maker
a filled 3 2@101 taker
"""
CASES["market: an amount of the quote currency is as many lots as it pays for"] = """
> b place 1 SELL LIMIT 2@100
b accepted 1
> b place 2 SELL LIMIT 9@110
b accepted 2
> a place 3 BUY MARKET 529 quote
a accepted 3
b filled 1 2@100 maker
a filled 3 2@100 taker
b filled 2 2@110 maker
a filled 3 2@110 taker
> a place 4 BUY MARKET 109 quote
refused BAD_ORDER
> a place 5 SELL MARKET 109 quote
refused NO_LIQUIDITY
"""
CASES["limit: trades at the price of the one that stood first, and rests with what is left"] = """
> b place 1 SELL LIMIT 2@100
b accepted 1
> a place 2 BUY LIMIT 5@103
a accepted 2
b filled 1 2@100 maker
a filled 2 2@100 taker
> c place 3 SELL LIMIT 4@102
c accepted 3
a filled 2 3@103 maker
c filled 3 3@103 taker
"""
CASES["limit: better prices first, then who came first"] = """
> a place 1 BUY LIMIT 2@100
a accepted 1
> b place 2 BUY LIMIT 2@100
b accepted 2
> b place 3 BUY LIMIT 2@101
b accepted 3
> c place 4 SELL LIMIT 5@100
c accepted 4
b filled 3 2@101 maker
c filled 4 2@101 taker
a filled 1 2@100 maker
c filled 4 2@100 taker
b filled 2 1@100 maker
c filled 4 1@100 taker
"""
CASES["IOC: the rest is canceled"] = """
> b place 1 SELL LIMIT 2@100
b accepted 1
> a place 2 BUY LIMIT 5@100 IOC
a accepted 2
b filled 1 2@100 maker
a filled 2 2@100 taker
a canceled 2 IOC
> a place 3 BUY LIMIT 5@100 IOC
a accepted 3
a canceled 3 IOC
"""
CASES["FOK: all at once, or nothing"] = """
> b place 1 SELL LIMIT 2@100
b accepted 1
> b place 2 SELL LIMIT 2@101
b accepted 2
> a place 3 BUY LIMIT 4@100 FOK
a accepted 3
a canceled 3 FOK
> a place 4 BUY LIMIT 4@101 FOK
a accepted 4
b filled 1 2@100 maker
a filled 4 2@100 taker
b filled 2 2@101 maker
a filled 4 2@101 taker
"""
CASES["FOK: counts what is hidden, not what is one's own"] = """
> b place 1 SELL LIMIT 4@100 show=1
b accepted 1
> a place 2 SELL LIMIT 3@100
a accepted 2
> a place 3 BUY LIMIT 5@100 FOK
a accepted 3
a canceled 3 FOK
> a place 4 BUY LIMIT 4@100 FOK
a accepted 4
b filled 1 1@100 maker
a filled 4 1@100 taker
a canceled 2 SELF_TRADE
b filled 1 1@100 maker
a filled 4 1@100 taker
b filled 1 1@100 maker
a filled 4 1@100 taker
b filled 1 1@100 maker
a filled 4 1@100 taker
"""
CASES["FOK: linked orders count once"] = """
> b place 1 SELL LIMIT 3@100 OCO=2; 2 SELL LIMIT 3@101 OCO=1
b accepted 1
b accepted 2
> a place 3 BUY LIMIT 4@101 FOK
a accepted 3
a canceled 3 FOK
"""
CASES["FOK: a reducing order counts with the position that it reduces"] = """
> c place 1 SELL LIMIT 2@100
c accepted 1
> b place 2 BUY MARKET 2
b accepted 2
c filled 1 2@100 maker
b filled 2 2@100 taker
> b place 3 SELL LIMIT 5@100 reduce
b accepted 3
> a place 4 BUY LIMIT 3@100 FOK
a accepted 4
a canceled 4 FOK
> a place 5 BUY LIMIT 3@100
a accepted 5
b filled 3 2@100 maker
a filled 5 2@100 taker
b canceled 3 REDUCE_ONLY
"""
CASES["FOK: two reducing orders count with one position"] = """
> c place 1 SELL LIMIT 2@100
c accepted 1
> b place 2 BUY MARKET 2
b accepted 2
c filled 1 2@100 maker
b filled 2 2@100 taker
> b place 3 SELL LIMIT 2@100 reduce; 4 SELL LIMIT 2@101 reduce
b accepted 3
b accepted 4
> a place 5 BUY LIMIT 3@101 FOK
a accepted 5
a canceled 5 FOK
"""
CASES["GTD: expires at its moment and no later command meets it"] = """
> a place 1 BUY LIMIT 5@100 GTD until=50
a accepted 1
> at 49
> at 50
a expired 1
> a place 2 BUY LIMIT 5@100 GTD until=60
a accepted 2
> at 59
> b place 3 SELL LIMIT 5@100
a expired 2
b accepted 3
> a place 4 BUY LIMIT 5@100 GTD until=60
refused BAD_ORDER
"""
CASES["DAY: until the next midnight UTC"] = """
> a place 1 BUY LIMIT 5@100 DAY
a accepted 1
> at 86399999999999
> at 86400000000000
a expired 1
"""
CASES["post-only: is rejected rather than take"] = """
> b place 1 SELL LIMIT 2@100
b accepted 1
> a place 2 BUY LIMIT 2@100 post
a rejected 2 POST_ONLY_WOULD_TAKE
> a place 3 BUY LIMIT 2@99 post
a accepted 3
> a modify 3 p=100
refused POST_ONLY_WOULD_TAKE
> b place 4 SELL MARKET 1
b accepted 4
a filled 3 1@99 maker
b filled 4 1@99 taker
"""
CASES["reduce-only: without a position it is rejected"] = """
> a place 1 SELL LIMIT 2@100 reduce
a rejected 1 REDUCE_ONLY_NO_POSITION
> a place 2 SELL STOP_MARKET 2 t=100 reduce
a rejected 2 REDUCE_ONLY_NO_POSITION
"""
CASES["reduce-only: takes what closes the position, the rest is canceled"] = """
> b place 1 SELL LIMIT 2@100
b accepted 1
> a place 2 BUY MARKET 2
a accepted 2
b filled 1 2@100 maker
a filled 2 2@100 taker
> a place 3 BUY LIMIT 2@90 reduce
a rejected 3 REDUCE_ONLY_NO_POSITION
> b place 4 BUY LIMIT 9@99
b accepted 4
> a place 5 SELL MARKET 5 reduce
a accepted 5
b filled 4 2@99 maker
a filled 5 2@99 taker
a canceled 5 REDUCE_ONLY
"""
CASES["reduce-only: resting, it gives no more than the position of that moment"] = """
> b place 1 SELL LIMIT 4@100
b accepted 1
> a place 2 BUY MARKET 4
a accepted 2
b filled 1 4@100 maker
a filled 2 4@100 taker
> a place 3 SELL LIMIT 4@110 reduce
a accepted 3
> b place 4 BUY LIMIT 3@99
b accepted 4
> a place 5 SELL MARKET 3
a accepted 5
b filled 4 3@99 maker
a filled 5 3@99 taker
> c place 6 BUY MARKET 4
c accepted 6
a filled 3 1@110 maker
c filled 6 1@110 taker
a canceled 3 REDUCE_ONLY
c canceled 6 NO_LIQUIDITY
"""
CASES["display: the next part goes to the back of the queue"] = """
> a place 1 SELL LIMIT 5@100 show=2
a accepted 1
> b place 2 SELL LIMIT 3@100
b accepted 2
> c place 3 BUY MARKET 7
c accepted 3
a filled 1 2@100 maker
c filled 3 2@100 taker
b filled 2 3@100 maker
c filled 3 3@100 taker
a filled 1 2@100 maker
c filled 3 2@100 taker
"""
CASES["self-trade: the resting one is canceled"] = """
> a place 1 SELL LIMIT 2@100
a accepted 1
> b place 2 SELL LIMIT 2@100
b accepted 2
> a place 3 BUY LIMIT 3@100
a accepted 3
a canceled 1 SELF_TRADE
b filled 2 2@100 maker
a filled 3 2@100 taker
"""
CASES["modify: smaller keeps its place, larger or another price loses it"] = """
> a place 1 BUY LIMIT 5@100
a accepted 1
> b place 2 BUY LIMIT 5@100
b accepted 2
> a modify 1 q=3
a updated 1 q=3 p=100
> c place 3 SELL MARKET 1
c accepted 3
a filled 1 1@100 maker
c filled 3 1@100 taker
> a modify 1 q=4
a updated 1 q=4 p=100
> c place 4 SELL MARKET 1
c accepted 4
b filled 2 1@100 maker
c filled 4 1@100 taker
> b modify 2 p=99
b updated 2 q=5 p=99
> b modify 2 p=100
b updated 2 q=5 p=100
> c place 5 SELL MARKET 1
c accepted 5
a filled 1 1@100 maker
c filled 5 1@100 taker
> a modify 1 q=2
refused BAD_ORDER
> a modify 1 q=4
refused NO_CHANGE
> a modify 9 q=4
refused UNKNOWN_ORDER
> a modify 2 q=4
refused UNKNOWN_ORDER
> a modify 1 t=4
refused BAD_ORDER
"""
CASES["modify: to a price that trades, it takes"] = """
> a place 1 BUY LIMIT 5@100
a accepted 1
> b place 2 SELL LIMIT 3@102
b accepted 2
> a modify 1 p=103
a updated 1 q=5 p=103
b filled 2 3@102 maker
a filled 1 3@102 taker
"""
CASES["cancel: once"] = """
> a place 1 BUY LIMIT 5@100
a accepted 1
> b cancel 1
refused UNKNOWN_ORDER
> a cancel 1
a canceled 1
> a cancel 1
refused UNKNOWN_ORDER
> b place 2 SELL MARKET 1
b rejected 2 NO_LIQUIDITY
"""
CASES["cancel all: of the account, by side"] = """
> a place 1 BUY LIMIT 5@100
a accepted 1
> a place 2 SELL LIMIT 5@110
a accepted 2
> b place 3 BUY LIMIT 5@100
b accepted 3
> a cancel_all SELL
a canceled 2
> a cancel_all
a canceled 1
> b cancel 3
b canceled 3
"""
CASES["stop-market: a buy when the ask rises to it"] = """
> step 99*5 101*5
> a place 1 BUY STOP_MARKET 2 t=101
a rejected 1 TRIGGER_IN_MARKET
> a place 2 BUY STOP_MARKET 2 t=103
a accepted 2
> step 100*5 102*5
> step 101*5 103*5
a filled 2 2@103 taker
"""
CASES["stop-market: a sell when the bid falls to it"] = """
> step 99*5 101*5
> a place 1 SELL STOP_MARKET 2 t=99
a rejected 1 TRIGGER_IN_MARKET
> a place 2 SELL STOP_MARKET 2 t=97
a accepted 2
> step 98*5 100*5
> step 96*5 98*5
a filled 2 2@96 taker
"""
CASES["stop-market: a trade triggers it too"] = """
> step 99*5 105*5
> a place 1 BUY STOP_MARKET 1 t=104
a rejected 1 TRIGGER_IN_MARKET
> a place 2 SELL STOP_MARKET 1 t=98
a accepted 2
> b place 3 SELL LIMIT 6@97
b accepted 3
b filled 3 5@99 taker
> c place 4 BUY LIMIT 1@97
c accepted 4
b filled 3 1@97 maker
c filled 4 1@97 taker
a canceled 2 NO_LIQUIDITY
"""
CASES["stop-limit: triggered, it is a limit order"] = """
> step 99*5 101*5
> a place 1 BUY STOP_LIMIT 7@104 t=103
a accepted 1
> step 101*5 103*5
a triggered 1
a filled 1 5@103 taker
> b place 2 SELL LIMIT 9@104
b accepted 2
a filled 1 2@104 maker
b filled 2 2@104 taker
"""
CASES["stop-limit: IOC, FOK and post-only are judged when it is triggered"] = """
> step 99*5 101*5
> a place 1 BUY STOP_LIMIT 7@104 t=103 IOC; 2 BUY STOP_LIMIT 7@103 t=103 FOK; 3 BUY STOP_LIMIT 7@103 t=103 post
a accepted 1
a accepted 2
a accepted 3
> step 102*5 103*5
a triggered 1
a filled 1 5@103 taker
a canceled 1 IOC
a triggered 2
a canceled 2 FOK
a triggered 3
"""
CASES["market-if-touched: a buy when the ask falls to it, a sell when the bid rises"] = """
> step 99*5 101*5
> a place 1 BUY MARKET_IF_TOUCHED 1 t=101
a rejected 1 TRIGGER_IN_MARKET
> a place 2 BUY MARKET_IF_TOUCHED 1 t=99
a accepted 2
> b place 3 SELL MARKET_IF_TOUCHED 1 t=101
b accepted 3
> step 97*5 99*5
a filled 2 1@99 taker
> step 101*5 103*5
b filled 3 1@101 taker
"""
CASES["limit-if-touched: triggered, it is a limit order"] = """
> step 99*5 101*5
> a place 1 BUY LIMIT_IF_TOUCHED 1@98 t=99
a accepted 1
> step 97*5 99*5
a triggered 1
> step 95*5 97*5
a filled 1 1@98 maker
"""
CASES["modify: a trigger, until it was reached"] = """
> step 99*5 101*5
> a place 1 BUY STOP_LIMIT 2@110 t=103 GTD until=99
a accepted 1
> a modify 1 t=101
refused TRIGGER_IN_MARKET
> a modify 1 t=105
a updated 1 q=2 p=110 t=105
> step 101*5 103*5
> step 103*5 105*1
a triggered 1
a filled 1 1@105 taker
> a modify 1 t=120
refused BAD_ORDER
> at 99
a expired 1
"""
CASES["stops: one fires the next"] = """
> b place 1 SELL LIMIT 1@100
b accepted 1
> b place 2 SELL LIMIT 1@101
b accepted 2
> b place 3 SELL LIMIT 1@102
b accepted 3
> a place 4 BUY STOP_MARKET 1 t=102
a accepted 4
> c place 5 BUY STOP_MARKET 1 t=101
c accepted 5
> a place 6 BUY LIMIT 1@100
a accepted 6
b filled 1 1@100 maker
a filled 6 1@100 taker
b filled 2 1@101 maker
c filled 5 1@101 taker
b filled 3 1@102 maker
a filled 4 1@102 taker
"""
CASES["legs: held until the parent fills, never larger than its fills"] = """
> a place 1 BUY LIMIT 5@100 OTO; 2 SELL LIMIT 5@110 parent=1 OUO=3; 3 SELL STOP_MARKET 5 t=95 parent=1 OUO=2 reduce
a accepted 1
a accepted 2 held
a accepted 3 held
> b place 4 SELL LIMIT 2@100
b accepted 4
a filled 1 2@100 maker
b filled 4 2@100 taker
a updated 2 q=2 p=110
a updated 3 q=2 t=95
> c place 5 BUY LIMIT 1@110
c accepted 5
a filled 2 1@110 maker
c filled 5 1@110 taker
a updated 3 q=1 t=95
> b place 6 SELL LIMIT 3@100
b accepted 6
a filled 1 3@100 maker
b filled 6 3@100 taker
a updated 2 q=5 p=110
a updated 3 q=4 t=95
> step 94*9 96*9
a filled 3 4@94 taker
a canceled 2 OUO
"""
CASES["legs: the parent ends unfilled"] = """
> a place 1 BUY LIMIT 5@100 OTO; 2 SELL LIMIT 5@110 parent=1 OCO=3; 3 SELL STOP_MARKET 5 t=95 parent=1 OCO=2
a accepted 1
a accepted 2 held
a accepted 3 held
> a cancel 1
a canceled 1
a canceled 2 PARENT
a canceled 3 LINKED
"""
CASES["legs: the parent is rejected"] = """
> a place 1 BUY MARKET 5 OTO; 2 SELL LIMIT 5@110 parent=1 OCO=3; 3 SELL STOP_MARKET 5 t=95 parent=1 OCO=2
a rejected 1 NO_LIQUIDITY
a rejected 2 PARENT
a rejected 3 PARENT
"""
CASES["legs: the parent is canceled after a part of it filled"] = """
> a place 1 BUY LIMIT 5@100; 2 SELL LIMIT 5@110 parent=1
a accepted 1
a accepted 2 held
> b place 3 SELL LIMIT 2@100
b accepted 3
a filled 1 2@100 maker
b filled 3 2@100 taker
a updated 2 q=2 p=110
> a cancel 1
a canceled 1
> b place 4 BUY LIMIT 9@110 IOC
b accepted 4
a filled 2 2@110 maker
b filled 4 2@110 taker
b canceled 4 IOC
"""
CASES["legs: a parent that takes what there is, and whose rest is canceled, keeps its legs"] = """
> b place 1 SELL LIMIT 2@100
b accepted 1
> a place 2 BUY LIMIT 5@100 IOC; 3 SELL LIMIT 5@110 parent=2 OCO=4; 4 SELL STOP_MARKET 5 t=95 parent=2 OCO=3
a accepted 2
a accepted 3 held
a accepted 4 held
b filled 1 2@100 maker
a filled 2 2@100 taker
a canceled 2 IOC
a updated 3 q=2 p=110
a updated 4 q=2 t=95
"""
CASES["legs: smaller than the parent, they stay so, less what the other has filled"] = """
> a place 1 BUY LIMIT 10@100; 2 SELL LIMIT 5@110 parent=1 OUO=3; 3 SELL STOP_MARKET 5 t=95 parent=1 OUO=2
a accepted 1
a accepted 2 held
a accepted 3 held
> b place 4 SELL LIMIT 3@100
b accepted 4
a filled 1 3@100 maker
b filled 4 3@100 taker
a updated 2 q=3 p=110
a updated 3 q=3 t=95
> c place 5 BUY LIMIT 2@110
c accepted 5
a filled 2 2@110 maker
c filled 5 2@110 taker
a updated 3 q=1 t=95
> b place 6 SELL LIMIT 7@100
b accepted 6
a filled 1 7@100 maker
b filled 6 7@100 taker
a updated 2 q=5 p=110
a updated 3 q=3 t=95
"""
CASES["legs: a market leg works at once; a stop leg whose trigger is reached fires"] = """
> step 99*9 101*9
> a place 1 BUY MARKET 2; 2 SELL MARKET 2 parent=1
a accepted 1
a accepted 2 held
a filled 1 2@101 taker
a updated 2 q=2
a filled 2 2@99 taker
> a place 3 BUY MARKET 2; 4 SELL STOP_MARKET 2 t=100 parent=3
a accepted 3
a accepted 4 held
a filled 3 2@101 taker
a updated 4 q=2 t=100
a filled 4 2@99 taker
"""
CASES["legs: changed and canceled while they are held"] = """
> a place 1 BUY LIMIT 5@100; 2 SELL LIMIT 5@110 parent=1 OCO=3; 3 SELL STOP_MARKET 5 t=95 parent=1 OCO=2
a accepted 1
a accepted 2 held
a accepted 3 held
> a modify 2 q=3 p=111
a updated 2 q=3 p=111 held
> b place 4 SELL LIMIT 5@100
b accepted 4
a filled 1 5@100 maker
b filled 4 5@100 taker
a updated 2 q=3 p=111
a updated 3 q=5 t=95
> a modify 2 q=4
refused BAD_ORDER
> a modify 2 q=2
a updated 2 q=2 p=111
> a cancel 3
a canceled 3
a canceled 2 LINKED
"""
CASES["legs: need a parent that is there and has not begun to fill"] = """
> a place 1 SELL LIMIT 5@110 parent=9
refused BAD_ORDER
> a place 2 SELL LIMIT 5@110 parent=3; 3 BUY LIMIT 5@100
refused BAD_ORDER
> a place 4 BUY LIMIT 5@100
a accepted 4
> a place 5 SELL LIMIT 5@110 parent=4
a accepted 5 held
> b place 6 SELL MARKET 1
b accepted 6
a filled 4 1@100 maker
b filled 6 1@100 taker
a updated 5 q=1 p=110
> a place 7 SELL LIMIT 5@110 parent=4
refused BAD_ORDER
"""
CASES["OCO: any fill cancels the linked"] = """
> a place 1 SELL LIMIT 5@110 OCO=2; 2 SELL LIMIT 5@111 OCO=1
a accepted 1
a accepted 2
> b place 3 BUY LIMIT 9@111
b accepted 3
a filled 1 5@110 maker
b filled 3 5@110 taker
a canceled 2 OCO
"""
CASES["OCO: a first fill is enough"] = """
> a place 1 SELL LIMIT 5@110 OCO=2; 2 SELL LIMIT 5@111 OCO=1
a accepted 1
a accepted 2
> b place 3 BUY LIMIT 1@110
b accepted 3
a filled 1 1@110 maker
b filled 3 1@110 taker
a canceled 2 OCO
> b place 4 BUY LIMIT 9@110
b accepted 4
a filled 1 4@110 maker
b filled 4 4@110 taker
"""
CASES["OCO: one that takes at once cancels the other before it rests"] = """
> b place 1 SELL LIMIT 1@100
b accepted 1
> a place 2 BUY LIMIT 1@100 OCO=3; 3 BUY LIMIT 1@95 OCO=2
a accepted 2
a accepted 3
b filled 1 1@100 maker
a filled 2 1@100 taker
a canceled 3 OCO
"""
CASES["OCO and OUO: the end of one is the end of the other"] = """
> a place 1 SELL LIMIT 5@110 OCO=2; 2 SELL LIMIT 5@111 OCO=1
a accepted 1
a accepted 2
> a cancel 1
a canceled 1
a canceled 2 LINKED
> a place 3 SELL LIMIT 5@110 OUO=4; 4 SELL LIMIT 5@111 OUO=3 GTD until=50
a accepted 3
a accepted 4
> at 50
a expired 4
a canceled 3 LINKED
> a place 5 SELL LIMIT 5@110 OUO=6 reduce; 6 SELL LIMIT 5@111 OUO=5
a rejected 5 REDUCE_ONLY_NO_POSITION
a accepted 6
a canceled 6 LINKED
> a place 7 SELL LIMIT 5@110 OUO=8; 8 SELL LIMIT 5@111 OUO=7 reduce
a accepted 7
a rejected 8 REDUCE_ONLY_NO_POSITION
a canceled 7 LINKED
"""
CASES["OUO: a fill makes the linked smaller, and ends it at zero"] = """
> a place 1 SELL LIMIT 5@110 OUO=2; 2 SELL LIMIT 5@111 OUO=1
a accepted 1
a accepted 2
> b place 3 BUY LIMIT 9@111
b accepted 3
a filled 1 5@110 maker
b filled 3 5@110 taker
a canceled 2 OUO
> a cancel_all
> b cancel_all
b canceled 3
> a place 4 SELL LIMIT 5@110 OUO=5; 5 SELL LIMIT 7@111 OUO=4
a accepted 4
a accepted 5
> b place 6 BUY LIMIT 2@110
b accepted 6
a filled 4 2@110 maker
b filled 6 2@110 taker
a updated 5 q=5 p=111
> b place 7 BUY LIMIT 9@111
b accepted 7
a filled 4 3@110 maker
b filled 7 3@110 taker
a updated 5 q=2 p=111
a filled 5 2@111 maker
b filled 7 2@111 taker
"""
CASES["list: all are accepted before the first works"] = """
> b place 1 SELL LIMIT 1@100
b accepted 1
> a place 2 BUY LIMIT 1@100; 3 BUY LIMIT 1@99
a accepted 2
a accepted 3
b filled 1 1@100 maker
a filled 2 1@100 taker
"""
CASES["list: one that is wrong refuses all"] = """
> a place 1 BUY LIMIT 1@100; 2 BUY LIMIT 1@99.5
refused OFF_GRID
> a cancel 1
refused UNKNOWN_ORDER
> a place 3 BUY LIMIT 1@100; 3 BUY LIMIT 1@99
refused DUPLICATE_ID
"""
CASES["halt: cancels are taken, nothing else, and nothing trades"] = """
> step 99*5 101*5
> a place 1 BUY LIMIT 1@100; 2 BUY LIMIT 1@99 GTD until=50; 3 SELL STOP_MARKET 1 t=95
a accepted 1
a accepted 2
a accepted 3
> halt
> a place 4 BUY LIMIT 1@100
refused HALTED
> a modify 1 p=98
refused HALTED
> step 80*5 82*5 SELL*1
> a cancel 1
a canceled 1
> at 50
a expired 2
> open
> step 80*5 82*5
a filled 3 1@80 taker
"""
CASES["halt: what was uncovered meanwhile triggers when it opens"] = """
> step 90*5 101*5
> b place 1 BUY LIMIT 1@99
b accepted 1
> a place 2 SELL STOP_MARKET 1 t=95
a accepted 2
> halt
> b cancel 1
b canceled 1
> open
a filled 2 1@90 taker
"""
CASES["bad orders are refused and leave no trace"] = """
> a place 1 BUY LIMIT 5
refused BAD_ORDER
> a place 1 BUY MARKET 5@100
refused BAD_ORDER
> a place 1 BUY STOP_LIMIT 5@100
refused BAD_ORDER
> a place 1 BUY LIMIT 5@100 t=99
refused BAD_ORDER
> a place 1 BUY MARKET 5 post
refused BAD_ORDER
> a place 1 BUY LIMIT 5@100 IOC post
refused BAD_ORDER
> a place 1 BUY MARKET 5 GTD until=99
refused BAD_ORDER
> a place 1 BUY LIMIT 5@100 until=99
refused BAD_ORDER
> a place 1 BUY LIMIT 5@100 quote
refused BAD_ORDER
> a place 1 BUY LIMIT 5@100 show=6
refused BAD_ORDER
> a place 1 BUY LIMIT 5@100 show=0.5
refused OFF_GRID
> a place 1 BUY LIMIT 5@100 OCO=
refused BAD_ORDER
> a place 1 BUY LIMIT 0@100
refused BAD_ORDER
> a place 1 BUY LIMIT NaN@100
refused BAD_ORDER
> a place 1 BUY LIMIT 5@NaN
refused OFF_GRID
> a place 1 BUY LIMIT 5@-1
refused OFF_GRID
> a place 1 BUY LIMIT 5@100 show=NaN
refused OFF_GRID
> a place 1 BUY LIMIT 1e30@100
refused OFF_GRID
> a place 1 BUY MARKET NaN quote
refused BAD_ORDER
> a place 1 BUY STOP_MARKET 5 t=0.5
refused OFF_GRID
> a place 1 BUY LIMIT 5@100
a accepted 1
> a modify 1 q=NaN
refused OFF_GRID
> a modify 1 p=0.5
refused OFF_GRID
"""
CASES["strangers: trade with our orders in their place in the queue"] = """
> step 99*5 101*5
> a place 1 BUY LIMIT 2@99
a accepted 1
> step 99*5 101*5 SELL*4
> step 99*5 101*5 SELL*2
a filled 1 1@99 maker
> step 99*5 101*5 SELL*2
a filled 1 1@99 maker
"""
CASES["strangers: who came last leaves first"] = """
> step 99*5 101*5
> a place 1 BUY LIMIT 2@99
a accepted 1
> step 99*8 101*5
> step 99*6 101*5 SELL*5
> step 99*6 101*5 SELL*2
a filled 1 2@99 maker
"""
CASES["strangers: a quote that crosses our order trades with it first"] = """
> step 99*5 101*5
> a place 1 SELL LIMIT 7@100
a accepted 1
> step 100*5 102*5
a filled 1 5@100 maker
> step 100*5 102*5
a filled 1 2@100 maker
"""


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    """What happens is what stands there, event for event, and no book is left crossed."""
    expected = dedent(CASES[name]).strip()
    script = Script()
    assert expected == script.play(expected)
    bids, asks = script.venue.levels(script.instrument_id, 1)
    assert not bids or not asks or bids[0][0] < asks[0][0]
