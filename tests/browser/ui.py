"""MLflow's user interface in headless Chromium: a server over a store, pages, and what a person sees on them."""

import os
import shutil
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.servers import mlflow_server

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
PATIENCE = 60
"""Seconds after which something that does not appear is taken to be missing; a busy machine takes its time."""


@contextmanager
def user_interface(store, folder, *, log):
    """Serve `store`, a database file, and open a browser; yields a Ui that keeps its pictures in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ("server", "--backend-store-uri", f"sqlite:///{store}", "--workers", "1")
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        mlflow_server(*command, log=log, answering="/health", environment=environment) as address,
        _chromium() as driver,
    ):
        yield Ui(driver, address, folder)


@contextmanager
def _chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1680,1500",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no page needs anything but the server
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        # The assistant would open by itself and hide a quarter of every page.
        script = (
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
            "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
        )
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        yield driver
    finally:
        driver.quit()


class Ui:
    """What a person does with the interface, and sees."""

    def __init__(self, driver, address, folder):
        self.driver = driver
        self.address = address
        self.folder = folder

    def open(self, page, *, afresh=False, **query):
        """Go to a page of MLflow's part for training; by default it shows the one for language models.

        `afresh` loads all anew: some pages do not follow when only the end of their address changes.
        """
        if afresh:
            self.driver.get("about:blank")
        query = "&".join(f"{key}={value}" for key, value in {**query, "workflowType": "machine_learning"}.items())
        self.driver.get(f"{self.address}/#/{page}?{query}")

    @property
    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def shows(self, *texts):
        """Wait until all of the texts can be read."""

        def lacking():
            text = self.text
            return [each for each in texts if each not in text]

        self.until(lambda: not lacking(), lambda: f"the page does not show {lacking()}")

    def until(self, condition, fault=lambda: ""):
        try:
            WebDriverWait(self.driver, PATIENCE, ignored_exceptions=[Exception]).until(lambda _: condition())
        except Exception as error:
            self.keep("fault")
            raise AssertionError(f"{fault()} at {self.driver.current_url}:\n{self.text}") from error

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector, text=""):
        """Click the first element that fits and has the text, as soon as it can be."""
        self.until(
            lambda: next(each for each in self.find(selector) if text in each.text).click() is None,
            lambda: f"{selector} {text!r} cannot be clicked",
        )

    def click_in_row(self, name, selector):
        """Click what fits in the row of a table in which a name stands."""
        row = f"//*[@role='row'][.//*[text()='{name}']]"
        self.until(
            lambda: self.driver.find_element(By.XPATH, row).find_element(By.CSS_SELECTOR, selector).click() is None,
            lambda: f"{selector} in the row of {name} cannot be clicked",
        )

    def follow(self, text):
        """Go where a link leads, which opens a tab of its own."""
        self.click("a", text)
        self.until(lambda: len(self.driver.window_handles) == 2, lambda: f"{text} leads nowhere")
        self.driver.switch_to.window(self.driver.window_handles[1])

    def back(self):
        """Close that tab."""
        self.driver.close()
        self.driver.switch_to.window(self.driver.window_handles[0])

    def keep(self, name):
        """Store a screenshot."""
        self.driver.save_screenshot(str(self.folder / f"{name}.png"))
