package main

const (
	pluginFlagHelp = "Run the hooks of `FILE.o[,KEY=VALUE]...` with these parameters; may be given several times. A comma in a value " +
		"is written \\,. Values @FILE, @fd:N and @env:NAME are read from there and not shown; @task:FILE is read in the task, by plugins that can. select=root, select=pid:N or select=comm:NAME: only in such tasks."
	timeoutFlagHelp = "One call of a hook may take `TIME` at most; 0 is no limit."
)
