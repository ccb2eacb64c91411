"""The one home of the column names of the source tables."""

USER = "user_id"
ITEM = "item_id"
TIME = "timestamp"
TYPE = "event_type"
SESSION = "session_id"
EVENT = "event_id"  # of events that were brought online: the same id is the same event

# Of items: may it be recommended today? True or false, or a stock count.
AVAILABLE = "available"

# Columns of the measuring protocol: a retrain ignores them and they are never features.
ROW = "row_id"
SPLIT = "split"
EVAL = "eval"
PROTOCOL = (ROW, SPLIT, EVAL)

EVENTS = "events"
ITEMS = "items"
USERS = "users"
TABLES = (EVENTS, ITEMS, USERS)

# Who is who, as the online process was told (pipelines/identities.py): a lake has this table too.
MERGES = "merges"
MERGE = "merge_id"
ALIAS = "alias"
LAKE_TABLES = (*TABLES, MERGES)

# An event of this type is how people say that they bought something, where a log has several types.
PURCHASE = "purchase"
# Events of this type are never positives, whatever the shop's specification says.
RETURN = "return"

# A time from which on an item can be bought: what came last is shown as new.
ARRIVES = "available_from"

# Of items, the first that is there: who makes or signs a product.
BRAND = ("brand", "designer", "maker", "manufacturer")
