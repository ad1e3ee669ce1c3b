"""The Lua scripts that both tiers run inside Redis; ``kuber_cron.common.store`` loads and explains them."""
