-- Takes a job and reports on it, as pilots do: every job that an answer brings is the next report.
local waiting = {}
local acquire = '{"site_name": "TEST_SITE", "prod_source_label": "user", "node": "wn1"}'
local update = '{"job_id": %s, "job_status": "running", "node": "wn1"}'

function request()
   local job = table.remove(waiting)
   if job then return wrk.format("POST", "/api/v1/pilot/update_job", nil, string.format(update, job)) end
   return wrk.format("POST", "/api/v1/pilot/acquire_jobs", nil, acquire)
end

function response(status, headers, body)
   local job = string.match(body, '"PandaID": (%d+)')
   if job then table.insert(waiting, job) end
end
