-- Posts the same body again and again; prints one line of JSON at the end.
local file = assert(io.open(os.getenv("BENCHMARK_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()

done = function(summary, latency, requests)
    local failed = summary.errors
    io.write(string.format(
        '\nRESULT {"requests":%d,"seconds":%.6f,"not_2xx":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,' ..
        '"p50_ms":%.3f,"p90_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
        summary.requests, summary.duration / 1e6,
        failed.status, failed.connect, failed.read, failed.write, failed.timeout,
        latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
