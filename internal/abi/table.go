package abi

// The hook table: what the blob carries in its read-only segment for the restorer core, little-endian.
//
//	struct crpie_table {                    // 48 bytes, at Image.Table
//	        uint32_t size, abi;
//	        uint64_t plugins, nr_plugins;   // address of struct crpie_table_plugin[nr_plugins], command-line order
//	        uint64_t hooks, nr_hooks;       // address of struct crpie_table_hook[nr_hooks]
//	        uint64_t reserved;
//	};
//	struct crpie_table_plugin {             // 40 bytes
//	        uint64_t name;                  // address of a NUL-terminated string
//	        uint64_t params, nr_params;     // address of struct crpie_param[nr_params] (two addresses each)
//	        uint64_t init, exit;            // addresses of functions, or 0
//	};
//	struct crpie_table_hook {               // 24 bytes; sorted by hook, priority, plugin, place in the object
//	        uint32_t hook;
//	        int32_t  priority;
//	        uint32_t plugin, reserved;      // index into plugins
//	        uint64_t fn;
//	};
//
// restorer/core/src/core.h declares the same structs for the core.
const (
	TableSize       = 48
	TablePluginSize = 40
	TableHookSize   = 24
	ParamPairSize   = 16
)
