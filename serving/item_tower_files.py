"""Files of a bundle by which products are embedded after the training; what serves reads none of them.

    item_tower.json           gain of each member, prior of a product without events
    item_tower_tokens.npy     float32 [tokens, M * D]      one row a feature token
    item_tower_dense.npy      float32 [dense, M * D]
    item_tower_prior.npy      float32 [M * D + 1]
    item_lengths.npy          float32 [items, M]           models/item_embedding.py says what of
    item_tokens_indptr.npy, item_tokens.npy, item_token_weights.npy, item_dense.npy   features, as a snapshot has them
    item_pictures.npy         uint64 [items]               digests of the items' pictures, 0 where there is none
"""

CONFIG, TOKEN_TABLE, PROJECTION = "item_tower.json", "item_tower_tokens.npy", "item_tower_dense.npy"
PRIOR_TABLE, LENGTHS = "item_tower_prior.npy", "item_lengths.npy"
TOWER_FILES = (CONFIG, TOKEN_TABLE, PROJECTION, PRIOR_TABLE)  # the same for all items
FROM_TRAINING = (*TOWER_FILES, LENGTHS)
BAG_INDPTR, BAG_TOKENS, BAG_WEIGHTS = "item_tokens_indptr.npy", "item_tokens.npy", "item_token_weights.npy"
DENSE, PICTURE_DIGESTS = "item_dense.npy", "item_pictures.npy"
FROM_SNAPSHOT = (BAG_INDPTR, BAG_TOKENS, BAG_WEIGHTS, DENSE, PICTURE_DIGESTS)
FILES = (*FROM_TRAINING, *FROM_SNAPSHOT)
