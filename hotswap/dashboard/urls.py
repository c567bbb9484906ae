"""Addresses of the portal."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from hotswap.dashboard.views import (
    account,
    deployments,
    function,
    function_actions,
    functions,
    overview,
    problems,
    runners,
    search,
    session,
    testing,
)

_ONE = "functions/<str:name>"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("login", session.SignIn.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("search.json", search.search, name="search"),
    path("account", account.account, name="account"),
    path("account/tokens/<int:token_id>/revoke", account.token_revoke, name="token-revoke"),
    path("runners", runners.runner_list, name="runners"),
    path("problems", problems.problem_list, name="problems"),
    path("problems/<slug:slug>", problems.problem, name="problem"),
    path("deployments", deployments.deployment_list, name="deployments"),
    path("deployments/<uuid:id>", deployments.deployment, name="deployment"),
    path("deployments/<uuid:id>/command", deployments.command, name="deployment-command"),
    # A function may be called "new", so that page is not below /functions.
    path("functions", functions.function_list, name="functions"),
    path("new", functions.function_new, name="function-new"),
    path(_ONE, function.code, name="function"),
    path(f"{_ONE}/versions", function.versions, name="function-versions"),
    path(f"{_ONE}/invocations", function.invocation_list, name="function-invocations"),
    path(f"{_ONE}/invocations/<str:request_id>", function.invocation, name="function-invocation"),
    path(f"{_ONE}/logs", function.log, name="function-logs"),
    path(f"{_ONE}/metrics", function.metrics, name="function-metrics"),
    path(f"{_ONE}/configuration", function.configuration, name="function-configuration"),
    path(f"{_ONE}/test", testing.test, name="function-test"),
    path(f"{_ONE}/test-stream", testing.test_stream, name="function-test-stream"),
    path(f"{_ONE}/events", testing.events, name="function-events"),
    path(f"{_ONE}/deploy", deployments.deployment_new, name="deployment-new"),
    path(f"{_ONE}/deploy/preview", deployments.preview, name="deployment-preview"),
    path(f"{_ONE}/configure", function_actions.configure, name="function-configure"),
    path(f"{_ONE}/delete", function_actions.delete, name="function-delete"),
    path(f"{_ONE}/restore", functions.function_restore, name="function-restore"),
    path(f"{_ONE}/upload", function_actions.upload, name="function-upload"),
    path(f"{_ONE}/alias", function_actions.alias_save, name="alias-save"),
    path(f"{_ONE}/alias/<str:alias>/delete", function_actions.alias_delete, name="alias-delete"),
    path(
        f"{_ONE}/versions/<str:version>/delete",
        function_actions.version_delete,
        name="version-delete",
    ),
]
