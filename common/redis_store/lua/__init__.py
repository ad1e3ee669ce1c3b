"""The Lua scripts that run inside Redis; ``kuber_cron.common.redis_store.scripts`` loads and explains them."""
